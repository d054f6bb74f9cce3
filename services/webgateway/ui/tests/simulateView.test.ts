import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, test, vi } from 'vitest';
import { simulationQuery } from '../src/queries/simulation';

vi.mock('@tanstack/react-router', async (original) => ({
  ...(await original<object>()),
  useParams: () => ({ dagId: 'etl' }),
}));

process.env.TZ = 'America/New_York';

test('the tab shows runs by day, what waits, and for which limit', async () => {
  vi.stubGlobal('window', { matchMedia: () => ({ matches: false, addEventListener: () => undefined }) });
  const { SimulateView } = await import('../src/pages/dag/SimulateView');
  const queries = new QueryClient();
  queries.setQueryData(simulationQuery('etl', { days: 7, maxActiveRuns: 1 }).queryKey, {
    start: '2026-03-01T00:00:00Z',
    end: '2026-03-08T00:00:00Z',
    stopped: '',
    run_count: 2,
    failed_run_count: 0,
    task_count: 6,
    peak_running_tasks: 3,
    peak_time: null,
    runs: [
      {
        dag_id: 'etl',
        run_id: 'scheduled__1',
        logical_date: '2026-03-01T00:00:00Z',
        due_time: '2026-03-01T06:00:00Z',
        start_time: '2026-03-01T09:00:00Z',
        end_time: '2026-03-01T12:00:00Z',
        state: 'success',
        task_count: 3,
        partition_key: '',
      },
    ],
    limits: [
      {
        kind: 'pool',
        name: 'db',
        limit: 4,
        waits: 1200,
        wait_seconds: 7200,
        longest_wait_seconds: 90,
        first_time: '2026-03-01T06:00:00Z',
      },
    ],
    event_count: 10,
    seconds: 0.1,
  });
  const html = renderToStaticMarkup(
    createElement(QueryClientProvider, { client: queries }, createElement(SimulateView)),
  );
  expect(html).toContain('slots of pool db (4)');
  expect(html).toContain('1,200');
  expect(html).toContain('2026-03-01');
  // Five hours behind UTC.
  expect(html).toContain('America/New_York');
  expect(html).toMatch(/timeline-bar waits" style="left:4.16\d+%;width:12.5%/);
  expect(html).toMatch(/timeline-bar success" style="left:16.66\d+%;width:12.5%/);
  expect(html).toContain('scheduled__1: due 2026-03-01 01:00:00, waits 3h 00m, takes 3h 00m');
  expect(html).toContain('2026-03-01 06:00:00 UTC');
  expect(html).not.toMatch(/>[^<]*T\d\d:\d\d:\d\dZ/);
  expect(html).toContain('The first 1 of 2 runs are shown.');
});
