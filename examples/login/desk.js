// node examples/login/desk.js - a peer that talks only to whom an OpenID provider knows: see index.html beside it
'use strict';

const { createPeer } = require('../..');
const { oidc } = require('../../dist/oidc.cjs'); // in an application: require('linkup/oidc')

const { ISSUER = 'google', CLIENT_ID = 'your client id', EMAIL = 'alice@example.org' } = process.env;

const desk = createPeer('desk', {
  identity: { oidc: oidc({ issuer: ISSUER, clientId: CLIENT_ID }) },
  accept({ from, identity }) {
    const { email, email_verified } = identity?.claims ?? {};
    console.log(`${from} calls, and is ${email ?? 'nobody that we know'}`);
    return (email === EMAIL && email_verified) || 'only for members';
  },
});

desk.on('connection', (connection) => {
  connection.on('message', (message) => console.log(`${connection.identity.claims.email} says: ${message}`));
  connection.send(`welcome, ${connection.identity.claims.email}`);
});
