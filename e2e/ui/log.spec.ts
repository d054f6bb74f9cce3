/** The log of a task that still runs, and finding lines in it. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { runPath, trigger, unpause } from './api';

const DAG = 'ui_slow_counter';
const CODE = `"""Counts slowly, for the journey about live logs."""

import logging
import time

from spinner import DAG, Tier, task

with DAG(
    "${DAG}",
    tier=Tier.TIER3,
    access_control={"everyone": ["can_dag_read", "can_dag_edit"]},
):

    @task
    def count():
        for number in range(60):
            print(f"counted to {number}", flush=True)
            time.sleep(0.25)
        logging.getLogger("counter").warning("done counting")

    count()
`;

test('the log follows a running task and can be searched and filtered', async ({ page, request }) => {
  const scratch = process.env.SPINNER_SCRATCH;
  if (!scratch) throw new Error('Set SPINNER_SCRATCH to a bundle folder of the stack; see e2e/ui/README.md.');
  const file = join(scratch, 'ui_slow_counter.py');
  writeFileSync(file, CODE);
  try {
    await expect
      .poll(async () => (await request.get(`/api/v1/dags/${DAG}`)).status(), { timeout: 30_000 })
      .toBe(200);
    await unpause(request, DAG);
    const runId = await trigger(request, DAG);
    await page.goto(`${runPath(DAG, runId)}?task=count`);
    const log = page.getByRole('log');
    await expect(log).toContainText('counted to 3');
    await expect(page.getByText('live', { exact: true })).toBeVisible();
    // The end stays in view while lines arrive, until the task has ended and its whole log is there.
    await expect(log).toContainText('counted to 30');
    await expect(log).toContainText('done counting', { timeout: 40_000 });
    await expect(page.getByText('live', { exact: true })).toBeHidden();
    await expect(page.getByRole('complementary').getByText('Success', { exact: true })).toBeVisible();

    await page.getByRole('searchbox', { name: 'Search in the log' }).fill('counted to 5');
    await expect(page.getByText(/^11 matches/)).toBeVisible();
    await expect(page).toHaveURL(/find=/);
    await page.getByRole('searchbox', { name: 'Search in the log' }).fill('');
    await page.getByRole('combobox', { name: 'Least level' }).selectOption('WARNING');
    await expect(log.locator('.log-line')).toHaveCount(1);
    await expect(log).toContainText('done counting');
  } finally {
    rmSync(file, { force: true });
  }
});
