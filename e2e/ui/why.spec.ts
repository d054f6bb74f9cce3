/** "Why?": what a DAG, a run and a task wait for, where a user looks for it. */
import { expect, test } from '@playwright/test';
import { ended, runPath, trigger, unpause } from './api';

const DAG = 'sample_branching';

test('a paused DAG, its queued run and its first task say why nothing runs', async ({ page, request }) => {
  await request.patch(`/api/v1/dags/${DAG}`, { data: { paused: true } });
  await page.goto(`/dags/${DAG}`);
  const why = page.getByRole('region', { name: 'Why?' });
  await expect(why).toContainText(`DAG ${DAG} is paused`);
  await why.getByRole('button', { name: /Why\?/ }).click();
  const reasons = why.getByRole('list', { name: 'Reasons' });
  await expect(reasons).toContainText('DAG_PAUSED');
  await expect(reasons).toContainText(`spinner dags unpause ${DAG}`);
  await expect(reasons.getByRole('list', { name: 'Held by' }).first()).toContainText('person');

  const runId = await trigger(request, DAG);
  await page.goto(runPath(DAG, runId));
  await expect(why.first()).toContainText(`DAG ${DAG} is paused`);
  await page.getByRole('table', { name: 'Tasks' }).getByRole('row').nth(1).click();
  const task = page.getByRole('complementary', { name: /^Task / }).getByRole('region', { name: 'Why?' });
  await expect(task).toContainText('RUN_NOT_STARTED');
  await expect(task.getByRole('link', { name: new RegExp(escapeText(runId)) })).toBeVisible();

  await unpause(request, DAG);
  expect(await ended(request, DAG, runId)).toBe('success');
  await expect(page.getByRole('region', { name: 'Why?' })).toHaveCount(0);
});

const escapeText = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
