// Commands and questions to the daemon. A refusal is thrown as words for people.

/** Why the daemon did not do as told, in its own words. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    words: string,
    readonly hint: string | null = null,
  ) {
    super(words);
  }
}

export interface May {
  may_control: boolean;
  /** Would the control token help? */
  token_helps: boolean;
  logged_in: boolean;
}

export async function get<T>(path: string): Promise<T> {
  return (await ask('GET', path)).json() as Promise<T>;
}

/** Has a command carried out; gives what was done, in the daemon's words. */
export async function command(path: string, body?: unknown): Promise<string> {
  const answer = (await (await ask('POST', path, body)).json()) as { done?: unknown };
  return typeof answer.done === 'string' ? answer.done : '';
}

export async function logIn(token: string): Promise<void> {
  await ask('POST', '/api/session', { token });
}

export async function logOut(): Promise<void> {
  await ask('DELETE', '/api/session');
}

async function ask(method: string, path: string, body?: unknown): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      ...(body === undefined ? {} : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    });
  } catch {
    throw new Refusal(0, 'the daemon does not answer');
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response: Response): Promise<Refusal> {
  try {
    const problem = (await response.json()) as { title?: string; detail?: string; hint?: string };
    return new Refusal(response.status, problem.detail ?? problem.title ?? '', problem.hint ?? null);
  } catch {
    return new Refusal(response.status, `the daemon answered ${response.status}`);
  }
}
