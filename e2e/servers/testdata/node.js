// An application on Node's own server, routing on the WHATWG URL as its documentation shows, and decoding
// it to find files and areas. Compares prefixes of the normalised path.
const http = require('node:http');
const path = require('node:path');
const fs = require('node:fs');

const areas = fs.readFileSync(process.env.AREAS, 'utf8').trim().split('\n').map((line) => line.split(' '));

http.createServer((req, res) => {
  let url, wanted;
  try {
    url = new URL(req.url, `http://${req.headers.host}`);
    wanted = path.posix.normalize(decodeURIComponent(url.pathname));
  } catch {
    res.writeHead(400).end('not a path\n');
    return;
  }
  if (wanted === '/whoami') {
    res.end(`id=[${req.headers['x-user-id'] ?? ''}]\n`);
    return;
  }
  for (const [prefix, says] of areas) {
    if (wanted === prefix || wanted.startsWith(`${prefix}/`)) {
      res.end(`${says}\n`);
      return;
    }
  }
  res.writeHead(404).end('nothing here\n');
}).listen(Number(process.env.PORT), '127.0.0.1');
