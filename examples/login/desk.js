// node examples/login/desk.js - a peer that talks only to whom an OpenID provider knows: see index.html beside it
'use strict';

const { createPeer } = require('../..');
const { oidc } = require('../../dist/oidc.cjs'); // in an application: require('linkup/oidc')

const { ISSUER = 'google', CLIENT_ID = 'your client id', EMAIL = 'alice@example.org' } = process.env;

const desk = createPeer('desk', {
  identity: { oidc: oidc({ issuer: ISSUER, clientId: CLIENT_ID }) },
  accept({ from, identity }) {
    console.log(`${from} calls, and is ${identity?.email ?? 'nobody that we know'}`);
    return (identity?.email === EMAIL && identity.claims.email_verified) || 'only for members';
  },
});

desk.on('connection', (connection) => {
  connection.on('message', (message) => console.log(`${connection.identity.email} says: ${message}`));
  connection.send(`welcome, ${connection.identity.email}`);
});
