/** Small building blocks: Radix primitives with our classes, times, and the empty, loading and error states. */
import { AlertTriangle, Check, Copy, Inbox, RotateCw, Search, X } from 'lucide-react';
import { Dialog as RadixDialog, Popover, Switch as RadixSwitch, Tooltip } from 'radix-ui';
import { useState, type ReactNode, type Ref } from 'react';
import { useNow } from '../lib/clock';
import {
  elapsedSeconds,
  formatClock,
  formatDuration,
  formatLocal,
  formatRelative,
  formatUtc,
  parseTime,
} from '../lib/time';
import { asProblem } from '../queries/client';

export function RelativeTime({ value, every = 1 }: { value: string | null | undefined; every?: number }) {
  const now = useNow(every);
  if (!parseTime(value)) return <span className="faint">—</span>;
  return (
    <time dateTime={value ?? undefined} title={`${formatLocal(value)} · ${formatUtc(value)}`}>
      {formatRelative(value, now)}
    </time>
  );
}

export function ExactTime({ value, millis = false }: { value: string | null | undefined; millis?: boolean }) {
  if (!parseTime(value)) return <span className="faint">—</span>;
  const [year, month, rest] = formatLocal(value).split('-');
  return (
    <time dateTime={value ?? undefined} title={formatUtc(value)}>
      {year}
      <i>-</i>
      {month}
      <i>-</i>
      {rest}
      {millis && formatClock(value).slice(8)}
    </time>
  );
}

interface DurationProps {
  start: string | null | undefined;
  end: string | null | undefined;
  seconds?: number | null;
  running?: boolean;
}

/** A finished duration, or one that ticks while it runs. */
export function Duration({ start, end, seconds, running }: DurationProps) {
  return seconds == null && running ? (
    <Ticking start={start} />
  ) : (
    <>{formatDuration(seconds ?? settled(start, end))}</>
  );
}

function settled(start: string | null | undefined, end: string | null | undefined): number | null {
  return end ? elapsedSeconds(start, end, 0) : null;
}

function Ticking({ start }: { start: string | null | undefined }) {
  return <>{formatDuration(elapsedSeconds(start, null, useNow()))}</>;
}

export function Hint({
  text,
  children,
  side,
}: {
  text: ReactNode;
  children: ReactNode;
  side?: 'top' | 'bottom' | 'left' | 'right';
}) {
  return (
    <Tooltip.Root delayDuration={250}>
      <Tooltip.Trigger asChild>{children}</Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content className="tip" side={side ?? 'bottom'} sideOffset={6} collisionPadding={8}>
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}

export function IconButton({
  label,
  children,
  className = 'btn ghost icon',
  ...rest
}: { label: string; children: ReactNode } & React.ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <Hint text={label}>
      <button type="button" className={className} aria-label={label} {...rest}>
        {children}
      </button>
    </Hint>
  );
}

interface SwitchProps {
  on: boolean;
  label: string;
  disabled?: boolean;
  onChange: (on: boolean) => void;
}

export function Switch({ on, label, disabled, onChange }: SwitchProps) {
  return (
    <RadixSwitch.Root
      className="switch"
      checked={on}
      disabled={disabled}
      aria-label={label}
      title={label}
      onCheckedChange={onChange}
      onClick={(event) => event.stopPropagation()}
    >
      <RadixSwitch.Thumb />
    </RadixSwitch.Root>
  );
}

/** The first field, otherwise the first button at the foot: never the close button. */
function focusFirst(event: Event) {
  const dialog = event.currentTarget as HTMLElement | null;
  const first =
    dialog?.querySelector<HTMLElement>('.dialog-body :is(input, textarea, select):not(:disabled)') ??
    dialog?.querySelector<HTMLElement>('.dialog-foot button');
  if (!first) return;
  event.preventDefault();
  first.focus();
}

interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: ReactNode;
  description?: string;
  wide?: boolean;
  children: ReactNode;
  footer?: ReactNode;
}

export function Dialog({ open, onClose, title, description, wide, children, footer }: DialogProps) {
  return (
    <RadixDialog.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <RadixDialog.Portal>
        <RadixDialog.Overlay className="overlay" />
        <RadixDialog.Content
          className={wide ? 'dialog wide' : 'dialog'}
          onOpenAutoFocus={focusFirst}
          {...(description ? {} : { 'aria-describedby': undefined })}
        >
          <div className="dialog-head">
            <RadixDialog.Title asChild>
              <h2 className="grow">{title}</h2>
            </RadixDialog.Title>
            <RadixDialog.Close asChild>
              <button type="button" className="btn ghost icon" aria-label="Close">
                <X size={15} />
              </button>
            </RadixDialog.Close>
          </div>
          <div className="dialog-body">
            {description && (
              <RadixDialog.Description className="muted">{description}</RadixDialog.Description>
            )}
            {children}
          </div>
          {footer && <div className="dialog-foot">{footer}</div>}
        </RadixDialog.Content>
      </RadixDialog.Portal>
    </RadixDialog.Root>
  );
}

export function CopyText({ text, label }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  return (
    <button
      type="button"
      className="btn ghost small icon"
      aria-label={label ?? `Copy ${text}`}
      title={label ?? 'Copy'}
      onClick={(event) => {
        event.stopPropagation();
        void navigator.clipboard.writeText(text).then(() => {
          setDone(true);
          setTimeout(() => setDone(false), 1200);
        });
      }}
    >
      {done ? <Check size={13} /> : <Copy size={13} />}
    </button>
  );
}

export function Empty({ title, children, icon }: { title: string; children?: ReactNode; icon?: ReactNode }) {
  return (
    <div className="empty">
      {icon ?? <Inbox size={28} strokeWidth={1.5} />}
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = asProblem(error);
  return (
    <div className="notice danger" role="alert">
      <AlertTriangle size={16} />
      <div className="grow">
        <strong>{problem.message}</strong>
        {problem.fix && <p className="muted">{problem.fix}</p>}
      </div>
      {retry && (
        <button type="button" className="btn small" onClick={retry}>
          <RotateCw size={12} /> Try again
        </button>
      )}
    </div>
  );
}

interface FilterProps extends Omit<React.InputHTMLAttributes<HTMLInputElement>, 'value' | 'onChange'> {
  /** What it filters: its name and what it says while it is empty. */
  label: string;
  width: number;
  value: string;
  onChange: (value: string) => void;
  ref?: Ref<HTMLInputElement>;
}

/** The field that narrows a list. */
export function FilterField({ label, width, value, onChange, ...rest }: FilterProps) {
  return (
    <div className="searchbox" style={{ width }}>
      <Search size={14} />
      <input
        {...rest}
        className="field"
        type="search"
        placeholder={label}
        aria-label={label}
        value={value}
        onChange={(event) => onChange(event.target.value)}
      />
    </div>
  );
}

/** Grey rows in the place of a table that is on its way. */
export function Loading({ rows = 8, label = 'Loading' }: { rows?: number; label?: string }) {
  return (
    <div role="status" aria-label={label} style={{ padding: 16, display: 'grid', gap: 12 }}>
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} className="skeleton" style={{ height: 14, width: `${92 - ((index * 17) % 40)}%` }} />
      ))}
    </div>
  );
}

export function Pop({
  trigger,
  children,
  align = 'start',
}: {
  trigger: ReactNode;
  children: ReactNode;
  align?: 'start' | 'end';
}) {
  return (
    <Popover.Root>
      <Popover.Trigger asChild>{trigger}</Popover.Trigger>
      <Popover.Portal>
        <Popover.Content className="menu" align={align} sideOffset={4} collisionPadding={8}>
          {children}
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
