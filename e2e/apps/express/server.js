// A small shop, as many are: its users, its login form and its sessions are its own, in PostgreSQL.
// Nothing here knows of a gateway but the one line that is marked.
'use strict';

const fs = require('node:fs');
const bcrypt = require('bcrypt');
const express = require('express');
const session = require('express-session');
const { Pool } = require('pg');
const PgStore = require('connect-pg-simple')(session);

const DAY = 24 * 60 * 60 * 1000;

const pool = new Pool({ connectionString: process.env.DATABASE_URL });
pool.on('error', (err) => console.error(`database: ${err.message}`));

// There is always a hash to compare with, so that the time does not tell who has an account.
const NOBODY = bcrypt.hashSync('nobody has this password', 4);

const app = express();
app.disable('x-powered-by');
app.use(express.urlencoded({ extended: false }));
app.use(session({
  store: new PgStore({ pool, pruneSessionInterval: false }),
  secret: fs.readFileSync(process.env.SESSION_SECRET_FILE, 'utf8').trim(),
  resave: false,
  saveUninitialized: false,
  rolling: false,
  cookie: { maxAge: 7 * DAY, httpOnly: true, sameSite: 'lax' },
}));

// Who is calling.
app.use(async (req, res, next) => {
  const userId = req.get('X-User-Id') || (req.session && req.session.userId); // the one line: was `req.session.userId`
  if (userId) {
    const { rows } = await pool.query('SELECT id, email, name, role FROM users WHERE id = $1', [userId]);
    req.user = rows[0];
  }
  next();
});

function loggedIn(req, res, next) {
  if (req.user) return next();
  res.redirect(303, '/login');
}

app.get('/login', (req, res) => {
  res.send('<form method="post"><input name="email"><input name="password" type="password"><button>Log in</button></form>');
});

app.post('/login', async (req, res, next) => {
  const { email = '', password = '' } = req.body || {};
  const { rows } = await pool.query('SELECT id, password_hash FROM users WHERE lower(email) = lower($1)', [email]);
  const right = await bcrypt.compare(password, rows[0] ? rows[0].password_hash : NOBODY);
  if (!rows[0] || !right) return res.status(401).send('Wrong email or password');
  req.session.regenerate((err) => {
    if (err) return next(err);
    req.session.userId = rows[0].id;
    req.session.save((err) => (err ? next(err) : res.redirect(303, '/me')));
  });
});

app.post('/logout', (req, res, next) => {
  req.session.destroy((err) => {
    if (err) return next(err);
    res.clearCookie('connect.sid');
    res.redirect(303, '/login');
  });
});

app.get('/me', loggedIn, (req, res) => res.json(req.user));

// The cart is kept in the session, beside the login.
app.get('/cart', loggedIn, (req, res) => res.json({ id: req.user.id, items: req.session.items || 0 }));

app.post('/cart', loggedIn, (req, res) => {
  req.session.items = (req.session.items || 0) + 1;
  res.json({ id: req.user.id, items: req.session.items });
});

app.get('/public', (req, res) => res.json({ hello: req.user ? req.user.name : 'stranger' }));

const server = app.listen(Number(process.env.PORT || 0), '127.0.0.1', (err) => {
  if (err) throw err;
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});

process.on('SIGTERM', () => server.close(() => pool.end()));
