/** What a run would do, and what is refused before anything is written: simulate, params, documentation, clear. */
import { expect, test } from '@playwright/test';
import { ended, runPath, trigger } from './api';

test('the Simulate tab shows the next days, and a backfill with the limit that holds it back', async ({ page }) => {
  await page.goto('/dags/sample_branching/simulate');
  const timeline = page.getByRole('table', { name: /Runs by/ });
  await expect(timeline.getByRole('img').first()).toBeVisible();
  await page.getByRole('combobox', { name: 'What' }).selectOption('Next day');
  await expect(page.getByText(/^4(79|80|81)$/)).toBeVisible();
  await page.getByRole('combobox', { name: 'What' }).selectOption('A backfill');
  await page.getByLabel('From (UTC)').fill('2026-03-01');
  await page.getByLabel('To (UTC)').fill('2026-03-01');
  await page.getByRole('spinbutton', { name: /Seconds a task/ }).fill('600');
  await expect(timeline.getByRole('rowheader').first()).toContainText('-');
});

test('a DAG with params has a form that refuses what does not fit, and the same as JSON', async ({ page }) => {
  await page.goto('/dags/sample_templates');
  await page.getByRole('button', { name: 'Trigger', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('Which planet to greet');
  await dialog.getByRole('textbox', { name: 'planet' }).fill('Venus');
  const repeat = dialog.getByRole('spinbutton', { name: 'repeat' });
  await repeat.fill('9');
  await expect(dialog.getByRole('alert')).toContainText('At most 5.');
  await expect(dialog.getByRole('button', { name: 'Trigger' })).toBeDisabled();
  await repeat.fill('2');
  await dialog.getByRole('button', { name: 'JSON' }).click();
  const conf = dialog.getByRole('textbox', { name: /conf/ });
  await expect(conf).toHaveValue(/"planet": "Venus",\s+"repeat": 2/);
  await conf.fill('{"planet": "Venus", "repeat": 9}');
  await expect(dialog.getByRole('alert')).toContainText('repeat: At most 5.');
  await conf.fill('{"planet": "Venus", "repeat": 3}');
  await dialog.getByRole('button', { name: 'Form' }).click();
  await expect(repeat).toHaveValue('3');
  await dialog.getByRole('button', { name: 'Trigger' }).click();
  await expect(page).toHaveURL(/\/runs\//);
});

test('the documentation of a DAG is Markdown', async ({ page }) => {
  await page.goto('/dags/sample_approval/details');
  await expect(page.locator('.markdown code').first()).toHaveText('spinner decisions list');
});

test('a clear says what it does before it does it', async ({ page, request }) => {
  const runId = await trigger(request, 'sample_templates');
  expect(await ended(request, 'sample_templates', runId)).toBe('success');
  await page.goto(runPath('sample_templates', runId));
  await page.getByRole('button', { name: 'Clear all', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByText(/Clears \d+ tasks? in 1 run/)).toBeVisible();
  await dialog.getByRole('checkbox', { name: /Latest version/ }).check();
  await expect(dialog.getByRole('list', { name: 'Tasks to clear' }).getByRole('listitem').first()).toBeVisible();
});
