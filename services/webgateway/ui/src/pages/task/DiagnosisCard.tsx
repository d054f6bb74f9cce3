import { Link } from '@tanstack/react-router';
import { Stethoscope } from 'lucide-react';
import type { Diagnosis } from '../../queries/client';

interface Props {
  diagnosis: Diagnosis;
  message: string;
  onLine: (line: number) => void;
}

/** What went wrong, whose it is, the lines that show it, and how to fix it. */
export function DiagnosisCard({ diagnosis, message, onLine }: Props) {
  return (
    <section className="diagnosis" aria-label="Diagnosis">
      <div className="row wrap">
        <Stethoscope size={15} aria-hidden="true" style={{ color: 'var(--danger)' }} />
        <h2>{diagnosis.title || message}</h2>
        <span className="chip danger mono">{diagnosis.category}</span>
        {diagnosis.owner && <span className="chip">{diagnosis.owner}</span>}
        {diagnosis.confidence > 0 && diagnosis.confidence < 0.6 && (
          <span className="chip warn">not certain</span>
        )}
        {diagnosis.similar_count > 0 && (
          <Link
            className="link small right"
            to="/failures"
            search={{ fingerprint: diagnosis.fingerprint }}
            title="Failures of the same cause, in all DAGs"
          >
            {diagnosis.similar_count >= 1000 ? '1,000 or more' : diagnosis.similar_count} similar
          </Link>
        )}
      </div>
      {diagnosis.evidence.length > 0 && (
        <ul className="evidence">
          {diagnosis.evidence.slice(0, 4).map((line) => (
            <li key={line.line}>
              <button
                type="button"
                onClick={() => onLine(line.line)}
                title={`Show line ${line.line} in the log`}
              >
                <span className="faint evidence-line">{line.line}</span>
                <span className="truncate">{line.text}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
      {diagnosis.how_to_fix && (
        <p>
          <strong>How to fix: </strong>
          {diagnosis.how_to_fix}
        </p>
      )}
    </section>
  );
}
