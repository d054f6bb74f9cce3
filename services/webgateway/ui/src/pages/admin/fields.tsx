/** Fields of a form about a setting. */

interface TextProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  wide?: boolean;
  mono?: boolean;
  disabled?: boolean;
  /** More than one line. */
  rows?: number;
  type?: 'password';
}

/** A labelled field for text. */
export function TextField({ label, value, onChange, wide, mono, disabled, rows, type }: TextProps) {
  const common = {
    className: mono ? 'field mono' : 'field',
    value,
    disabled,
    onChange: (event: { target: { value: string } }) => onChange(event.target.value),
  };
  return (
    <label className={wide ? 'labelled wide' : 'labelled'}>
      <span>{label}</span>
      {rows ? (
        <textarea {...common} rows={rows} spellCheck={false} />
      ) : (
        <input {...common} type={type} autoComplete={type && 'new-password'} />
      )}
    </label>
  );
}

interface NumberProps {
  label: string;
  value: number;
  onChange: (value: number) => void;
  min: number;
  max?: number;
}

/** A labelled field for a whole number; NaN while it is empty. */
export function NumberField({ label, value, onChange, min, max }: NumberProps) {
  return (
    <label className="labelled">
      <span>{label}</span>
      <input
        className="field"
        type="number"
        min={min}
        max={max}
        value={Number.isNaN(value) ? '' : value}
        onChange={(event) => onChange(event.target.valueAsNumber)}
      />
    </label>
  );
}

export function CheckField({
  label,
  on,
  onChange,
}: {
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
}) {
  return (
    <label className="check wide">
      <input type="checkbox" checked={on} onChange={(event) => onChange(event.target.checked)} />
      {label}
    </label>
  );
}
