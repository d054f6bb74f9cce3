import { BackfillTable } from '../../components/BackfillTable';

/** Backfills of all DAGs. */
export function BackfillsPage() {
  return (
    <>
      <div className="page-head">
        <h1>Backfills</h1>
      </div>
      <BackfillTable />
    </>
  );
}
