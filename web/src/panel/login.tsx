import { useState } from 'preact/hooks';
import { logIn, Refusal, type May } from './api';
import { Outcome, type Said } from './command';

/** Control from elsewhere needs the token; looking does not. */
export function Login({ may, onDone }: { may: May; onDone: () => void }) {
  const [token, setToken] = useState('');
  const [said, setSaid] = useState<Said | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    try {
      await logIn(token);
      setToken('');
      onDone();
    } catch (error) {
      const { message, hint } = error instanceof Refusal ? error : { message: String(error), hint: null };
      setSaid({ well: false, words: message, hint });
    }
  };
  return (
    <section class="card login" aria-labelledby="login-title">
      <h2 id="login-title">You may look, not control</h2>
      {may.token_helps ? (
        <form onSubmit={(event) => void submit(event)}>
          <label for="token">Control token of this box</label>
          <div class="row">
            <input id="token" type="password" autocomplete="current-password" required maxLength={512}
              value={token} onInput={(event) => setToken(event.currentTarget.value)} />
            <button type="submit" class="solid">Log in</button>
          </div>
          <Outcome said={said} />
        </form>
      ) : (
        <p>This box has no control token. Set <code>http.control_token_file</code>, or open this page on the box itself.</p>
      )}
    </section>
  );
}
