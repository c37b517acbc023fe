package openwhisk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/chandler-broker/chandler/functions/feed"
)

// tally is what a copy contains.
type tally struct {
	counts  map[string]int64
	digest  [sha256.Size]byte // the sum of the lines' hashes, which does not depend on their order
	waiting []copied
}

func newTally() tally {
	return tally{counts: map[string]int64{"packages": 0, "actions": 0, "triggers": 0, "rules": 0, feedsCollection: 0}}
}

func (t *tally) add(line copied) {
	if line.End != nil {
		return
	}
	t.counts[line.Collection]++
	body := line.Body
	if line.Collection == feedsCollection {
		body = feed.Settings(body) // a feed may have ended since
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %t %s", line.Collection, line.Name, line.Inactive, body))
	carry := 0
	for i, b := range slices.Backward(sum[:]) {
		carry += int(t.digest[i]) + int(b)
		t.digest[i], carry = byte(carry&0xff), carry>>8
	}
}

func (t *tally) copied() Copied {
	return Copied{Format: CopyFormat, Counts: t.counts, Digest: hex.EncodeToString(t.digest[:])}
}
