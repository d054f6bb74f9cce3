/** Finding DAGs, pausing them, looking at their shape. */
import { expect, test } from '@playwright/test';
import { ended, trigger, unpause } from './api';

test('home lists the samples, filters in the address, opens with the keyboard', async ({ page }) => {
  await page.goto('/');
  const table = page.getByRole('table', { name: 'DAGs' });
  await expect(table.getByRole('link', { name: 'sample_branching' })).toBeVisible();
  await page.getByRole('searchbox', { name: 'Filter by DAG id' }).fill('sample_mapp');
  await expect(page).toHaveURL(/q=sample_mapp/);
  await expect(table.getByRole('link', { name: 'sample_branching' })).toBeHidden();
  await expect(table.getByRole('link', { name: 'sample_mapping' })).toBeVisible();
  await page.reload();
  await expect(table.getByRole('link', { name: 'sample_mapping' })).toBeVisible();
  await page.getByRole('heading', { name: 'DAGs' }).focus();
  await page.locator('main').focus();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/dags\/sample_mapp/);
});

test('pause shows at once, survives a reload, and is audited', async ({ page, request }) => {
  await unpause(request, 'sample_branching');
  await page.goto('/?q=sample_branching');
  await page.getByRole('switch', { name: 'Pause sample_branching' }).click();
  const unpauseSwitch = page.getByRole('switch', {
    name: 'Unpause sample_branching',
  });
  await expect(unpauseSwitch).toBeVisible();
  await expect
    .poll(
      async () =>
        ((await (await request.get('/api/v1/dags/sample_branching')).json()) as { paused: boolean }).paused,
    )
    .toBe(true);
  await page.reload();
  await unpauseSwitch.click();
  await expect(page.getByRole('switch', { name: 'Pause sample_branching' })).toBeVisible();
  await page.goto('/dags/sample_branching/events');
  await expect(page.getByRole('table', { name: 'Audit' })).toContainText('dag.unpause');
});

test('grid, graph, calendar and durations show a run', async ({ page, request }) => {
  await unpause(request, 'sample_branching');
  const runId = await trigger(request, 'sample_branching');
  await ended(request, 'sample_branching', runId);
  await page.goto('/dags/sample_branching');
  await expect(
    page
      .getByRole('button', {
        name: new RegExp(`in ${escapeText(runId)}: Success`),
      })
      .first(),
  ).toBeVisible();
  await page
    .getByRole('navigation', { name: 'Views of the DAG' })
    .getByRole('link', { name: 'Graph' })
    .click();
  // The latest run, without being asked.
  await expect(page.getByRole('combobox', { name: 'States of' })).toHaveValue(runId);
  const graph = page.getByRole('group', { name: 'Graph of the tasks' });
  await expect(graph.getByRole('button', { name: /: Success$/ }).first()).toBeVisible();
  await expect(graph.getByRole('button', { name: /: Skipped$/ }).first()).toBeVisible();
  const views = page.getByRole('navigation', { name: 'Views of the DAG' });
  await views.getByRole('link', { name: 'Durations' }).click();
  const bars = page.getByRole('slider', { name: 'Duration of runs' });
  await bars.press('End');
  await expect(bars).toHaveAttribute('aria-valuetext', new RegExp(`^${escapeText(runId)}: Success`));
  await expect(page.getByRole('slider', { name: 'Duration of tasks' })).toBeVisible();
  await views.getByRole('link', { name: 'Calendar' }).click();
  const today = page.getByRole('gridcell').and(page.locator('[aria-current=date]'));
  await expect(today).toHaveAccessibleName(/\d+ success/);
  await today.press('Enter');
  await expect(page.getByRole('table', { name: 'Runs' }).getByRole('link', { name: runId })).toBeVisible();
});

test('a run started elsewhere appears without a reload', async ({ page, request }) => {
  await unpause(request, 'sample_branching');
  await page.goto('/dags/sample_branching');
  await expect(page.getByText('Live', { exact: true })).toBeVisible();
  const runId = await trigger(request, 'sample_branching');
  await expect(page.getByRole('button', { name: `Run ${runId}: Success` })).toBeVisible();
});

test('the palette finds a DAG', async ({ page }) => {
  await page.goto('/audit');
  await page.locator('main').focus();
  await page.keyboard.press('/');
  await page.getByRole('combobox').fill('sample_branch');
  await page
    .getByRole('option', { name: /sample_branching/ })
    .first()
    .click();
  await expect(page.getByRole('heading', { name: 'sample_branching' })).toBeVisible();
});

function escapeText(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
