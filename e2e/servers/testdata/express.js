// An application on Express with its defaults: routers without regard to case, and static files.
const fs = require('node:fs');
const express = require('express');

const app = express();
app.get('/whoami', (req, res) => res.type('text').send(`id=[${req.get('X-User-Id') ?? ''}]\n`));
for (const line of fs.readFileSync(process.env.AREAS, 'utf8').trim().split('\n')) {
  const [prefix, says] = line.split(' ');
  app.use(prefix, (req, res) => res.type('text').send(`${says}\n`));
}
app.use('/static', express.static(process.env.ROOT, { extensions: ['html'] }));
app.listen(Number(process.env.PORT), '127.0.0.1');
