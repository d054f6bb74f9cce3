/** The journey that matters most: a task fails, the user learns why, and runs it again. */
import { expect, test } from '@playwright/test';
import { unpause } from './api';

const DAG = 'sample_missing_file';
const TASK = 'read_export';

test('trigger, find the failed task, read its log and diagnosis, retry', async ({ page, request }) => {
  await unpause(request, DAG);
  await page.goto(`/dags/${DAG}`);
  await page.getByRole('button', { name: 'Trigger', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox', { name: /conf/ }).fill('[1, 2]');
  await expect(dialog.getByRole('alert')).toContainText('must be an object');
  await expect(dialog.getByRole('button', { name: 'Trigger' })).toBeDisabled();
  await dialog.getByRole('textbox', { name: /conf/ }).fill('{"day": "2026-11-26"}');
  await dialog.getByRole('button', { name: 'Trigger' }).click();

  // The page of the new run, which turns to failed without a reload.
  await expect(page).toHaveURL(/\/runs\//);
  const row = page.getByRole('row').filter({ hasText: TASK });
  await expect(row).toContainText('Failed');
  await row.click();

  const pane = page.getByRole('complementary', { name: `Task ${TASK}` });
  const diagnosis = pane.getByRole('region', { name: 'Diagnosis' });
  await expect(diagnosis).toContainText('How to fix');
  const log = pane.getByRole('log');
  const critical = log.locator('.log-line.critical');
  await expect(critical.first()).toBeVisible();
  await expect(log).toContainText('No such file or directory');
  await expect(pane.getByRole('list', { name: 'Stages' })).toContainText('Task exec');

  await diagnosis.getByRole('button').first().click();
  await expect(page).toHaveURL(/line=\d+/);
  await expect(log.locator('.log-line.target')).toBeVisible();

  await pane.getByRole('button', { name: 'Retry' }).click();
  await expect(page.getByRole('dialog').getByText(/Clears \d+ tasks? in 1 run/)).toBeVisible();
  await page.getByRole('dialog').getByRole('button', { name: 'Clear and run again' }).click();
  await expect(
    pane.getByRole('group', { name: 'Tries' }).getByRole('button', { name: /Try 2/ }),
  ).toBeVisible();

  // The address of the task leads back to the same place.
  await page.reload();
  await expect(
    pane.getByRole('group', { name: 'Tries' }).getByRole('button', { name: /Try 2/ }),
  ).toBeVisible();

  // Others that failed for the same reason, in whatever DAG.
  await diagnosis.getByRole('link', { name: /similar/ }).click();
  await expect(page.getByRole('table', { name: 'Similar failures' })).toContainText(DAG);
});
