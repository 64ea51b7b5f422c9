'use strict';
// What `require('linkup')` gives in Node.js: the API of js/ over the addon, and the broker.

const { brokers, Broker } = require('./js/broker-native');
const engine = require('./js/engine-native');
const { linkup } = require('./js/linkup');

const { hub, api } = linkup(engine);

module.exports = {
  createPeer: api.createPeer,
  createBroker: brokers(hub),
  createIdentity: api.createIdentity,
  loadIdentity: api.loadIdentity,
  LinkupError: api.LinkupError,
  Peer: api.Peer,
  Connection: api.Connection,
  Broker,
};
