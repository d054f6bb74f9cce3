interface Props {
  total: number;
  from: number;
  to: number;
  critical: number[];
  found: number[];
  onJump: (line: number) => void;
}

const MAX_MARKS = 400;

/** The whole log in a strip: where critical lines and matches are, and where the view is. */
export function LogGutter({ total, from, to, critical, found, onJump }: Props) {
  if (total === 0) return null;
  const place = (line: number) => `${((line - 1) / total) * 99}%`;
  return (
    <div className="log-gutter">
      <span
        className="view"
        style={{ top: place(from), height: `${Math.max(1, ((to - from) / total) * 99)}%` }}
      />
      {found.slice(0, MAX_MARKS).map((line) => (
        <button
          key={`f${line}`}
          type="button"
          className="found"
          tabIndex={-1}
          style={{ top: place(line) }}
          aria-label={`Match on line ${line}`}
          onClick={() => onJump(line)}
        />
      ))}
      {critical.slice(0, MAX_MARKS).map((line) => (
        <button
          key={line}
          type="button"
          tabIndex={-1}
          style={{ top: place(line) }}
          title={`Critical line ${line}`}
          aria-label={`Critical line ${line}`}
          onClick={() => onJump(line)}
        />
      ))}
    </div>
  );
}
