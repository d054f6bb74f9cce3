/** What a task asks for: shown with where it comes from, set and reset in the page, audited. */
import { expect, test } from '@playwright/test';

const DAG = 'sample_missing_file';
const TASK = 'read_export';

test('the memory of a task is set and reset on the page of its DAG', async ({ page, request }) => {
  await page.goto(`/dags/${DAG}/details`);
  const row = page
    .getByRole('row')
    .filter({ hasText: TASK })
    .filter({ has: page.getByRole('button') });
  await row.getByRole('button').click();
  const dialog = page.getByRole('dialog', { name: `Memory of ${TASK}` });
  await dialog.getByLabel(/Request/).fill('lots');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toContainText(/512Mi|quantity/);
  await dialog.getByLabel(/Request/).fill('96Mi');
  await dialog.getByLabel(/Limit/).fill('1Gi');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toBeHidden();
  await expect(row).toContainText('96');
  await page.reload();
  await expect(row).toContainText('96');

  await row.getByRole('button').click();
  await dialog.getByRole('button', { name: 'Reset' }).click();
  await expect(dialog).toBeHidden();
  await expect(row).not.toContainText('96');
  const audit = async () => (await request.get(`/api/v1/audit?subject=dag/${DAG}`)).text();
  await expect.poll(audit, { timeout: 30_000 }).toContain('task.memory.reset');
});
