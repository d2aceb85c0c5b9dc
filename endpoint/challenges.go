package endpoint

import "sync"

// challenges are those that we have sent in an SCCRQ, and whose responses we wait for.
//
// Who answers as well as dials, with one secret, must not respond to them: somebody
// who does not know it could dial us with the challenge that we have just sent him,
// and send the response back as his own. The response depends on the message that it
// comes in, but that is SCCRP both times (RFC 2661 §4.4.3).
type challenges struct {
	mu  sync.Mutex
	all map[string]struct{}
}

func (c *challenges) add(challenge []byte) {
	if challenge == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]struct{}{}
	}
	c.all[string(challenge)] = struct{}{}
}

func (c *challenges) remove(challenge []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, string(challenge))
}

func (c *challenges) outstanding(challenge []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, found := c.all[string(challenge)]
	return found
}
