import { Link } from '@tanstack/react-router';
import { FileWarning } from 'lucide-react';
import type { ParseError } from '../queries/client';
import { CopyText, RelativeTime } from './ui';

/** One broken file: where, what, the line, how to fix it, and the trace. */
export function ParseErrorCard({ error, open }: { error: ParseError; open: boolean }) {
  return (
    <article className="parse-error panel" aria-label={error.relative_path}>
      <header className="row wrap">
        <FileWarning size={15} style={{ color: 'var(--danger)', flex: 'none' }} aria-hidden="true" />
        <h2 className="mono">
          {error.relative_path === '.' ? error.bundle : error.relative_path}
          {error.line > 0 && <span className="faint">:{error.line}</span>}
        </h2>
        <CopyText text={error.relative_path} label="Copy the path" />
        <span className="chip danger mono">{error.error_type}</span>
        <span className="right small faint">
          {error.bundle} {error.bundle_version.slice(0, 10)} · since{' '}
          <RelativeTime value={error.detected_time} />
          {error.last_updated_time !== error.detected_time && (
            <>
              , changed <RelativeTime value={error.last_updated_time} />
            </>
          )}
        </span>
      </header>
      <p style={{ overflowWrap: 'anywhere' }}>{error.message}</p>
      {error.source_line && (
        <pre className="source-line">
          <span className="faint">{error.line}</span>
          {error.source_line}
        </pre>
      )}
      {error.fix && (
        <p>
          <strong>How to fix: </strong>
          {error.fix}
        </p>
      )}
      {error.dag_ids.length > 0 && (
        <p className="row wrap">
          <span className="muted">Keeps running at an older version:</span>
          {error.dag_ids.map((id) => (
            <Link key={id} className="link mono" to="/dags/$dagId" params={{ dagId: id }}>
              {id}
            </Link>
          ))}
        </p>
      )}
      {error.stack_trace && (
        <details open={open}>
          <summary className="muted">Stack trace</summary>
          <pre className="codeblock" tabIndex={0} aria-label={`Stack trace of ${error.relative_path}`}>
            {error.stack_trace}
          </pre>
        </details>
      )}
    </article>
  );
}
