/**
 * Commands that are carried out once, however often they are sent: a wish that is sent again because no answer came
 * keeps its request id, by which the gateway and the scheduler know it.
 */
import { useState } from 'react';
import { ApiProblem } from './client';

const NOTHING = { wish: '', id: '' };

/** One button's wishes. An answer, be it yes or no, ends a wish: the same one afterwards is a new wish. */
export class Once {
  private sent = NOTHING;

  /** Sends `wish`, which is all that tells it from others, under its request id. */
  async send<Result>(wish: unknown, request: (requestId: string) => Promise<Result>): Promise<Result> {
    const text = JSON.stringify(wish);
    if (this.sent.wish !== text) this.sent = { wish: text, id: crypto.randomUUID() };
    try {
      const result = await request(this.sent.id);
      this.sent = NOTHING;
      return result;
    } catch (error) {
      if (error instanceof ApiProblem && error.status >= 400 && error.status < 500) this.sent = NOTHING;
      throw error;
    }
  }
}

export function useOnce(): Once {
  const [once] = useState(() => new Once());
  return once;
}
