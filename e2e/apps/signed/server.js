// An application that believes nothing but the gateway's signature: it verifies X-Gatehouse-Assertion with
// the keys the gateway publishes, and tells who calls.
import http from 'node:http';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';

const { SOCKET, AUDIENCE, SECRET } = process.env;

// The gateways this application trusts, each by its issuer: [{ "issuer", "algorithm", "jwks" }]. Keys are kept for a moment
// only, to see them change, and an unknown one is never asked for: it must have been published before.
const gateways = new Map(JSON.parse(process.env.GATEWAYS).map(({ issuer, algorithm, jwks }) =>
  [issuer, { algorithm, keys: createRemoteJWKSet(new URL(jwks), { cacheMaxAge: 200, cooldownDuration: Infinity }) }]));

// verify gives what a trusted gateway says of the caller. later is by how many seconds this application's clock is ahead.
async function verify(token, audience, later) {
  const issuer = decodeJwt(token).iss; // not believed: it only tells whose keys to try
  const gateway = gateways.get(issuer);
  if (!gateway) throw Object.assign(new Error('of nobody we know'), { code: 'UNKNOWN_ISSUER' });
  const { payload, protectedHeader } = await jwtVerify(token, gateway.keys, {
    issuer,
    audience,
    algorithms: [gateway.algorithm],
    requiredClaims: ['sub', 'exp', 'iat', 'jti'],
    currentDate: new Date(Date.now() + later * 1000),
  });
  return { claims: payload, header: protectedHeader };
}

const server = http.createServer(async (req, res) => {
  const url = new URL(req.url, 'http://app');
  const answer = (status, body) => {
    res.writeHead(status, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify(body));
  };
  if (url.pathname === '/kids') {
    const kept = gateways.get(url.searchParams.get('issuer')).keys.jwks();
    return answer(200, { kids: kept ? kept.keys.map((key) => key.kid) : [] });
  }
  const viaGateway = req.headers['x-gatehouse-secret'] === SECRET;
  const token = req.headers['x-gatehouse-assertion'];
  if (!token) return answer(401, { code: 'NONE', viaGateway });
  try {
    const later = Number(url.searchParams.get('later') || 0);
    answer(200, { ...await verify(token, url.searchParams.get('audience') || AUDIENCE, later), token, viaGateway });
  } catch (err) {
    answer(401, { code: err.code || String(err), viaGateway });
  }
});
server.listen(SOCKET, () => console.log(`listening on ${SOCKET}`));
