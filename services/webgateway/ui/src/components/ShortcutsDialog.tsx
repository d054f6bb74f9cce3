import { registeredShortcuts, type Shortcut } from '../lib/shortcuts';
import { Dialog } from './ui';

const MOD = /mac/i.test(navigator.userAgent) ? '⌘' : 'Ctrl';

export function ShortcutsDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const groups = new Map<string, Shortcut[]>();
  if (open) {
    for (const shortcut of registeredShortcuts()) {
      groups.set(shortcut.group, [...(groups.get(shortcut.group) ?? []), shortcut]);
    }
  }
  return (
    <Dialog open={open} onClose={onClose} title="Keys on this page" wide>
      <div className="keys">
        {[...groups].map(([group, shortcuts]) => (
          <section key={group}>
            <h3>{group}</h3>
            <ul>
              {shortcuts.map((shortcut) => (
                <li key={shortcut.keys}>
                  <span className="grow">{shortcut.label}</span>
                  {shortcut.keys.split(' ').map((key, index) => (
                    <kbd key={index}>
                      {key.replace('mod+', `${MOD} `).replace(/ (\w)$/, (text) => text.toUpperCase())}
                    </kbd>
                  ))}
                </li>
              ))}
            </ul>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
