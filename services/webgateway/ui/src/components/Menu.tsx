import { DropdownMenu } from 'radix-ui';
import type { ReactNode } from 'react';

export interface MenuAction {
  label: ReactNode;
  icon?: ReactNode;
  danger?: boolean;
  disabled?: boolean;
  run: () => void;
}

/** A menu of actions; `null` entries are separators, texts are headings. */
export function Menu({ trigger, actions }: { trigger: ReactNode; actions: (MenuAction | string | null)[] }) {
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>{trigger}</DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content className="menu" align="end" sideOffset={4} collisionPadding={8}>
          {actions.map((action, index) => {
            if (action === null) return <DropdownMenu.Separator key={index} className="menu-sep" />;
            if (typeof action === 'string')
              return (
                <DropdownMenu.Label key={index} className="menu-label">
                  {action}
                </DropdownMenu.Label>
              );
            return (
              <DropdownMenu.Item
                key={index}
                className={action.danger ? 'menu-item danger' : 'menu-item'}
                disabled={action.disabled}
                onSelect={action.run}
              >
                {action.icon}
                {action.label}
              </DropdownMenu.Item>
            );
          })}
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  );
}
