import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { Braces } from 'lucide-react';
import { CopyText, Empty, ExactTime } from '../../components/ui';
import { runQuery } from '../../queries/runs';

export function ConfView() {
  const { dagId, runId } = useParams({ from: '/dags/$dagId/runs/$runId' });
  const { data: run } = useQuery(runQuery(dagId, runId));
  if (!run) return null;
  const text = JSON.stringify(run.conf, null, 2);
  const given = Object.keys(run.conf).length > 0;
  return (
    <div className="tab-scroll" tabIndex={0} role="group" aria-label="Conf and dates">
      <section>
        <div className="row">
          <h2 className="label">conf</h2>
          {given && <CopyText text={text} label="Copy conf" />}
        </div>
        {!given ? (
          <Empty title="This run has no conf" icon={<Braces size={28} strokeWidth={1.5} />}>
            <p>
              Give one when you trigger a run; a template reads it as{' '}
              <code className="nowrap">{'{{ dag_run.conf["name"] }}'}</code>.
            </p>
          </Empty>
        ) : (
          <pre className="codeblock wrap">{text}</pre>
        )}
      </section>
      <section>
        <h2 className="label">Dates</h2>
        <dl className="facts">
          <dt>Logical date</dt>
          <dd>
            <ExactTime value={run.logical_date} />
          </dd>
          <dt>Data interval</dt>
          <dd>
            <ExactTime value={run.data_interval_start} /> to <ExactTime value={run.data_interval_end} />
          </dd>
          <dt>Run after</dt>
          <dd>
            <ExactTime value={run.run_after} />
          </dd>
          <dt>Queued</dt>
          <dd>
            <ExactTime value={run.queued_time} />
          </dd>
          <dt>Started</dt>
          <dd>
            <ExactTime value={run.start_time} />
          </dd>
          <dt>Ended</dt>
          <dd>
            <ExactTime value={run.end_time} />
          </dd>
        </dl>
      </section>
    </div>
  );
}
