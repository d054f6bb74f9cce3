/** Every page in light and dark: no accessibility findings, no errors in the console, nothing wider than the window. */
import AxeBuilder from '@axe-core/playwright';
import { expect, test } from '@playwright/test';
import { ended, runPath, trigger, unpause } from './api';

const DAG = 'sample_missing_file';
let run = '';

test.beforeAll(async ({ request }) => {
  await unpause(request, DAG);
  const runId = await trigger(request, DAG);
  await ended(request, DAG, runId);
  run = runPath(DAG, runId);
});

const PAGES: [string, () => string, string][] = [
  ['home', () => '/', '.dt-body'],
  ['runs', () => '/runs', '.dt-body'],
  ['grid', () => `/dags/${DAG}`, '.grid-cell'],
  ['graph', () => `/dags/${DAG}/graph`, '.gn'],
  ['dag runs', () => `/dags/${DAG}/runs`, '.dt-body'],
  ['calendar', () => `/dags/${DAG}/calendar`, '.day-today'],
  ['durations', () => `/dags/${DAG}/durations`, '.plot svg'],
  ['landing times', () => `/dags/${DAG}/landing`, '.plot svg'],
  ['dag backfills', () => `/dags/${DAG}/backfills`, '.empty, .backfill'],
  ['code', () => `/dags/${DAG}/code`, '.cm-line'],
  ['simulate', () => '/dags/sample_branching/simulate', '.timeline-bar'],
  ['details', () => `/dags/${DAG}/details`, '.facts'],
  ['dag errors', () => `/dags/${DAG}/errors`, '.empty'],
  ['dag audit', () => `/dags/${DAG}/events`, '.dt-body'],
  ['run', () => run, '.dt-body'],
  ['run with its failed task', () => `${run}?task=read_export&map=-1`, '.diagnosis'],
  ['gantt', () => `${run}/gantt`, '.gantt-bar'],
  ['run graph', () => `${run}/graph`, '.gn'],
  ['events', () => `${run}/events`, '.dt-body'],
  ['conf', () => `${run}/conf`, '.facts'],
  ['task', () => `${run}/tasks/read_export/-1`, '.log-line'],
  ['parse errors', () => '/parse-errors', '.empty, .parse-error'],
  ['parse errors that are over', () => '/parse-errors?tab=history', '.dt'],
  ['backfills', () => '/backfills', '.empty, .backfill'],
  ['similar failures', () => '/failures?fingerprint=none', '.empty'],
  ['required actions', () => '/decisions', '.empty, .decisions'],
  ['assets', () => '/lineage', '.dt'],
  ['deadlines', () => '/deadlines?state=dropped', '.dt'],
  ['pools', () => '/pools', '.dt-body'],
  ['variables', () => '/variables', '.dt'],
  ['connections', () => '/connections', '.dt'],
  ['audit', () => '/audit', '.dt-body'],
];

/** Hundreds of cells, which axe looks at one by one; their colours are the tokens of every other page. */
const IN_ONE_THEME = 'calendar';

for (const theme of ['light', 'dark'] as const) {
  test.describe(theme, () => {
    test.use({ colorScheme: theme });
    for (const [name, path, sign] of PAGES) {
      if (name === IN_ONE_THEME && theme === 'dark') continue;
      test(`${name} is accessible and fits`, async ({ page }) => {
        const complaints: string[] = [];
        page.on('pageerror', (error) => complaints.push(error.message));
        page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
        await page.goto(path());
        await expect(page.locator(sign).first()).toBeVisible();
        await expect(page.locator('html')).toHaveAttribute('data-theme', theme);
        const findings = await new AxeBuilder({ page }).analyze();
        expect(
          findings.violations.map(
            (found) => `${found.id}: ${found.nodes.map((node) => node.html).join(' ')}`,
          ),
        ).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(
          true,
        );
        expect(complaints).toEqual([]);
      });
    }
  });
}

test('the theme can be chosen and is remembered', async ({ page }) => {
  await page.emulateMedia({ colorScheme: 'light' });
  await page.goto('/');
  await page.getByRole('button', { name: 'Theme' }).click();
  await page.getByRole('menuitem', { name: 'Dark' }).click();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
});
