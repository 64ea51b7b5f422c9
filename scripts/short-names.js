// Names of internal properties that the build for pages shortens (build-page.js). Only what __test__/js/short-names.test.js
// agrees to: nothing that is public, on the wire or the platform's, and nothing that is reached by a string.
'use strict';

module.exports = `
  addCandidate afterOnce api arrived asked asks awake begin brokers callAgain closePeer closedError core
  current deadline decide defaultBroker describe described embedded ends engine events ever expectClose
  farewell forget forgetQuestion giveUp handCandidates handed handle hold hub incoming insert isAttempt
  isCurrent isKnown leave linkOf live look made mailbox maxMessage missed othersMayReturn
  ownOptions owner passed peers post previous putError question refuse roster said sendBye
  sendSignal setAnswer settings signaled startAll startTransport stopTransport tell timer transformed
  transforms usable wanted
  allHanded allSent confirmed cost dataChannel framed gotWhole makeRoom more peek prepare pump quiet unsure used
  whole fail bundle
  resumes rewind takeOver moveOver renew renewed calmDown stopNext brokerIsBack stage newest ending heardIn outlives wouldKnow
  hurries phase missing why interrupted resumed
  binary broke conclude drained flow full heard how mine queued regulate settled tear unheard writableLength
  pinned offered noteAnswered lastWord sendLastWord hasAnswered takeAnswer setLogin keyOf identityOf isPair verifies going prove judge
`
  .trim()
  .split(/\s+/);
