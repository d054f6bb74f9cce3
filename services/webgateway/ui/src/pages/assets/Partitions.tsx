import { useInfiniteQuery } from '@tanstack/react-query';
import { ExactTime, Problem } from '../../components/ui';
import { assetPartitionsQuery } from '../../queries/assets';
import { Producer } from './AssetPane';

/** Partitions of an asset, latest first, with when and by whom each was updated last. */
export function Partitions({ name }: { name: string }) {
  const partitions = useInfiniteQuery(assetPartitionsQuery(name));
  const rows = partitions.data?.pages.flatMap((page) => page.items) ?? [];
  if (partitions.isError) return <Problem error={partitions.error} retry={() => void partitions.refetch()} />;
  if (rows.length === 0) return null;
  return (
    <>
      <h3>Partitions</h3>
      <table className="asset-partitions" aria-label="Partitions">
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">Updated</th>
            <th scope="col">By</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.partition_key}>
              <td className="mono">{row.partition_key}</td>
              <td>
                <ExactTime value={row.update.time} />
              </td>
              <td>
                <Producer event={row.update} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {partitions.hasNextPage && (
        <button type="button" className="btn" onClick={() => void partitions.fetchNextPage()}>
          Older
        </button>
      )}
    </>
  );
}
