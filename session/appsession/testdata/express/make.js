// Writes what express-session and cookie-signature write, as cases for the Go tests:
//   npm ci && node make.js > vectors.json
const http = require('http');
const session = require('express-session');
const signature = require('cookie-signature');

const old = 'the secret before the last';
const secret = 'keyboard cat & Zoë';
const cases = [];

// ask logs somebody in at a real express-session and gives the cookie and what its store keeps.
function ask(options, user) {
  return new Promise((resolve, reject) => {
    const store = new session.MemoryStore();
    const middleware = session({ store, resave: false, saveUninitialized: true, ...options });
    const server = http.createServer((req, res) => middleware(req, res, (err) => {
      if (err) return reject(err);
      if (user !== undefined) req.session.passport = { user };
      res.end(req.sessionID);
    }));
    server.listen(0, '127.0.0.1', () => {
      http.get({ port: server.address().port }, (res) => {
        let token = '';
        res.on('data', (part) => { token += part; });
        res.on('end', () => {
          server.close();
          const value = res.headers['set-cookie'][0].split(';')[0].split('=').slice(1).join('=');
          resolve({ value, token, data: store.sessions[token] });
        });
      }).on('error', reject);
    });
  });
}

function cookie(name, value, token, secrets) {
  cases.push({ name, kind: 'cookie', scheme: 'express', cookie: 'connect.sid', secrets, value, want: token });
}

async function main() {
  // Several, so that the signature's + and / come up, which stand as %2B and %2F in the cookie.
  for (let i = 0; i < 8; i++) {
    const s = await ask({ secret });
    cookie(`session ${i}`, s.value, s.token, [secret]);
  }
  const one = await ask({ secret: [secret, old] });
  cookie('signed with the first of several', one.value, one.token, [secret]);
  const odd = await ask({ secret, genid: () => 'app:1.2.' + 'x'.repeat(20) });
  cookie('a token with dots', odd.value, odd.token, ['another', secret]);

  const sid = 'W7u2mVnJxkP0sQeR4tYz1aBcDeFgHiJk';
  const signed = 's:' + signature.sign(sid, old);
  cookie('an older secret', encodeURIComponent(signed), sid, [secret, old]);
  cookie('not encoded', signed, sid, [old]);
  cookie('in quotation marks', `"${encodeURIComponent(signed)}"`, sid, [old]);
  cookie('of another secret', encodeURIComponent(signed), '', [secret]);
  cookie('another token', encodeURIComponent(signed.replace('W7', 'W8')), '', [old]);
  cookie('without s:', signature.sign(sid, old), '', [old]);

  for (const [name, user, want] of [
    ['passport, a number', 42, '42'], ['passport, text', 'a3f1c2', 'a3f1c2'], ['an ID of Mongo', '507f1f77bcf86cd799439011', '507f1f77bcf86cd799439011'],
    ['passport, beyond ASCII', 'zoë', 'zoë'], ['nobody', undefined, ''], ['passport, null', null, ''],
  ]) {
    const s = await ask({ secret, cookie: { maxAge: 60000 } }, user);
    cases.push({ name, kind: 'json', data: Buffer.from(s.data).toString('base64'), path: ['passport', 'user'], want });
  }
  process.stdout.write(JSON.stringify(cases, null, 1) + '\n');
}

main().catch((err) => { console.error(err); process.exit(1); });
