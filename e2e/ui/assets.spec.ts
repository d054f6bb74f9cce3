/** Assets and deadlines: where a user sees what led to what, and what is late. */
import { expect, test } from '@playwright/test';
import { ended, trigger } from './api';

test('an asset shows who updates it, what it starts, and its updates; one by hand is recorded', async ({
  page,
  request,
}) => {
  const runId = await trigger(request, 'sample_orders');
  expect(await ended(request, 'sample_orders', runId)).toBe('success');
  await page.goto('/');
  await page.getByRole('link', { name: 'Assets', exact: true }).click();
  await page.getByRole('searchbox', { name: 'Name or URI' }).fill('sample/orders.csv');
  const row = page
    .getByRole('table', { name: 'Assets' })
    .getByRole('row')
    .filter({ hasText: 'sample_orders' });
  await expect(row).toHaveCount(1);
  await row.click();
  const pane = page.getByRole('region', { name: 'Asset sample/orders' });
  const lineage = pane.getByRole('group', { name: 'Lineage' });
  await expect(lineage.getByRole('link', { name: 'sample_orders', exact: true })).toBeVisible();
  await expect(lineage.getByRole('link', { name: 'sample_orders_report', exact: true })).toBeVisible();
  await expect(pane.getByRole('link', { name: /sample_orders collect/ }).first()).toBeVisible();
  await expect(pane.getByText('{"rows":3}').first()).toBeVisible();

  const mark = `by hand ${Date.now()}`;
  await pane.getByRole('button', { name: 'Record an update' }).click();
  await page.getByRole('textbox', { name: /extra/ }).fill(JSON.stringify({ mark }));
  await page.getByRole('button', { name: 'Record', exact: true }).click();
  await expect(pane.getByText(mark)).toBeVisible();
});

test('partitions of an asset are listed, each starts a run, and one is updated by hand', async ({
  page,
  request,
}) => {
  const runId = await trigger(request, 'sample_sales');
  expect(await ended(request, 'sample_sales', runId)).toBe('success');
  await page.goto('/lineage?subject=sample%2Fsales');
  const pane = page.getByRole('region', { name: 'Asset sample/sales' });
  const partitions = pane.getByRole('table', { name: 'Partitions' });
  await expect(partitions.getByRole('row', { name: /^north .*sample_sales collect/ })).toBeVisible();
  await expect(partitions.getByRole('row', { name: /^south .*sample_sales collect/ })).toBeVisible();

  const key = `by hand ${Date.now()}`;
  await pane.getByRole('button', { name: 'Record an update' }).click();
  await page.getByRole('textbox', { name: /Partition key/ }).fill(key);
  await page.getByRole('button', { name: 'Record', exact: true }).click();
  await expect(partitions.getByRole('cell', { name: key })).toBeVisible();
  await pane
    .getByRole('listitem')
    .filter({ hasText: key })
    .getByRole('link', { name: /sample_sales_report/ })
    .first()
    .click();
  await expect(page.getByText(key).first()).toBeVisible();
});

test('a missed deadline is listed and leads to its run', async ({ page, request }) => {
  const runId = await trigger(request, 'sample_deadline');
  expect(await ended(request, 'sample_deadline', runId)).toBe('success');
  await page.goto('/deadlines?state=missed');
  const row = page.getByRole('table', { name: 'Deadlines' }).getByRole('row').filter({ hasText: runId });
  await expect(row).toContainText('Missed');
  await row.click();
  await expect(page).toHaveURL(new RegExp(`/dags/sample_deadline/runs/`));
});

test('one task runs again with parameters of its own', async ({ page, request }) => {
  const runId = await trigger(request, 'sample_templates', { planet: 'Mars' });
  expect(await ended(request, 'sample_templates', runId)).toBe('success');
  await page.goto(`/dags/sample_templates/runs/${encodeURIComponent(runId)}/tasks/greet/-1`);
  await page.getByRole('button', { name: 'Clear', exact: true }).click();
  await page.getByText('Other parameters').click();
  const conf = page.getByRole('textbox', { name: /conf that only these tasks see/ });
  await conf.fill('[1]');
  await expect(page.getByRole('alert')).toContainText('must be an object');
  await conf.fill('{"planet": "Venus", "repeat": 1}');
  await page.getByRole('checkbox', { name: /^Downstream/ }).uncheck();
  await page.getByRole('button', { name: 'Clear and run again' }).click();
  await expect(page.getByText('Hello VENUS').first()).toBeVisible();
});
