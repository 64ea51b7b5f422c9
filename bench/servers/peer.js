'use strict';
// PeerJS' server, npm `peer`.

const { PeerServer } = require('peer');
const { port, host } = require('./arguments');

PeerServer({ port, host }, (server) => console.log(`peer listening on ws://${host}:${server.address().port}`));
