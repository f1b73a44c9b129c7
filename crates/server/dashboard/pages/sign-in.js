// The page for whoever has to say who he is.

import { html } from '../vendor/lit-html/lit-html.js';
import { signIn } from '../api.js';
import { schedule } from '../draw.js';

/** The page. `done` is called once the server knows the token. */
export function page(done) {
  let error = null;

  async function submit(event) {
    event.preventDefault();
    try {
      await signIn(new FormData(event.target).get('token').trim());
      done();
    } catch (refused) {
      error = refused.message;
      schedule();
    }
  }

  return {
    title: 'Sign in',
    view: () => html`
      <h1 tabindex="-1">Sign in</h1>
      <p>This server asks who you are. A token is made by <code>throttle token new</code>.</p>
      <form class="sign-in" @submit=${submit}>
        <label for="token">Token</label>
        <input name="username" value="throttle" autocomplete="username" hidden>
        <input id="token" name="token" type="password" autocomplete="current-password" required>
        <button type="submit" class="button">Sign in</button>
      </form>
      <p role="alert">${error}</p>`,
  };
}
