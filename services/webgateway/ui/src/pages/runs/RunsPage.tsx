import { RunTable } from '../../components/RunTable';
import '../dag/dag.css';

/** Runs of all DAGs, newest first. */
export function RunsPage() {
  return (
    <>
      <h1 className="sr-only">Runs</h1>
      <RunTable />
    </>
  );
}
