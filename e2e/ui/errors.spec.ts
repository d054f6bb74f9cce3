/** A broken file shows with its line, and goes when it is mended. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { ended, trigger, unpause } from './api';

test('a broken file appears with its line and leaves when it is mended', async ({ page }) => {
  const scratch = process.env.SPINNER_SCRATCH;
  if (!scratch) throw new Error('Set SPINNER_SCRATCH to a bundle folder of the stack; see e2e/ui/README.md.');
  const name = `broken_${Date.now()}.py`;
  const path = join(scratch, name);
  writeFileSync(path, 'from spinner import DAG\n\nwith DAG("broken"\n');
  try {
    await page.goto('/parse-errors');
    const card = page.getByRole('article', { name: new RegExp(name) });
    await expect(card).toContainText('SyntaxError');
    await expect(card).toContainText('with DAG("broken"');
    await page.getByRole('searchbox').fill('no such file anywhere');
    await expect(page.getByRole('heading', { name: 'No broken file matches' })).toBeVisible();
    await page.getByRole('button', { name: 'Clear the filter' }).click();
    await expect(card).toBeVisible();
    rmSync(path);
    await expect(card).toBeHidden();
    await page.getByRole('button', { name: 'Over' }).click();
    const over = page.getByRole('row', { name: new RegExp(name) });
    await expect(over).toContainText('SyntaxError');
    await over.getByRole('button', { name: 'Show' }).click();
    await expect(page.getByText('with DAG("broken"')).toBeVisible();
  } finally {
    rmSync(path, { force: true });
  }
});

test('an unknown DAG says so and offers the next step', async ({ page }) => {
  await page.goto('/dags/no_such_dag');
  await expect(page.getByRole('alert')).toContainText('no_such_dag');
  await page.getByRole('link', { name: 'All DAGs' }).click();
  await expect(page.getByRole('table', { name: 'DAGs' })).toBeVisible();
});

test('a lost connection shows, heals, and what was missed appears', async ({ page, request }) => {
  await unpause(request, 'sample_branching');
  await page.route('**/api/v1/changes*', (route) => route.abort());
  await page.goto('/dags/sample_branching');
  await expect(page.getByText('Reconnecting')).toBeVisible();
  await expect(page.locator('.grid-cell, .empty').first()).toBeVisible();
  const runId = await trigger(request, 'sample_branching');
  await ended(request, 'sample_branching', runId);
  const head = page.getByRole('button', { name: `Run ${runId}: Success` });
  await expect(head).toBeHidden();
  await page.unroute('**/api/v1/changes*');
  await expect(page.getByText('Live', { exact: true })).toBeVisible();
  await expect(head).toBeVisible();
});
