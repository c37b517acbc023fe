package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// waitReady waits until every running server takes clients and JetStream has
// what it needs to make streams.
func (n *NATS) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, natsStartLimit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := n.missing()
		if missing == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the message servers did not become ready in time: %s; %s; the end of %s: %s: %w",
				missing, n.views(), n.log.Name(), lastLines(n.log.Name()), ctx.Err())
		}
	}
}

// missing says what is not ready yet; empty: nothing.
func (n *NATS) missing() string {
	var running []*natsNode
	for _, node := range n.nodes {
		switch {
		case node.server == nil: // stopped on purpose
			continue
		case !node.server.ReadyForConnections(time.Millisecond):
			return node.options.ServerName + " takes no clients"
		case !node.server.JetStreamEnabled():
			return node.options.ServerName + " has no JetStream"
		}
		running = append(running, node)
	}
	if len(n.nodes) == 1 || len(running) <= len(n.nodes)/2 { // without a majority there is no leader to wait for
		return ""
	}
	return gathered(running)
}

// gathered says what keeps servers from being a cluster that survives the loss
// of one of them; empty: nothing. A server's own word is not enough: it calls
// itself current before it has heard of a leader, and the leader counts on a
// server, and puts streams there, when it has heard from it. What is replicated
// survives the loss of another server once this one has caught up with it.
func gathered(running []*natsNode) string {
	var leader *natsNode
	for _, node := range running {
		if node.server.JetStreamIsLeader() {
			leader = node
		}
	}
	if leader == nil {
		return "nobody leads"
	}
	name := leader.options.ServerName
	seen, places := leader.meta(), leader.server.JetStreamClusterPeers()
	for _, node := range running {
		own := node.meta()
		switch {
		case own == nil || own.Leader != name || !node.server.JetStreamIsCurrent():
			return node.options.ServerName + " does not follow " + name
		case node != leader && !counts(seen, node):
			return name + " does not count on " + node.options.ServerName
		case !slices.Contains(places, node.options.ServerName):
			return name + " would put no stream on " + node.options.ServerName
		}
		if health := node.server.Healthz(nil); health.Error != "" {
			return node.options.ServerName + " says: " + health.Error
		}
	}
	return ""
}

// counts says whether the leader that sees this has heard from node since its
// start, and that node has everything.
func counts(seen *natsserver.MetaClusterInfo, node *natsNode) bool {
	if seen == nil {
		return false
	}
	for _, peer := range seen.Replicas {
		if peer.Name == node.options.ServerName {
			return peer.Current && !peer.Offline && !peer.Pending && peer.Active < time.Since(node.began)
		}
	}
	return false
}

// meta is what the server knows of the group that JetStream's cluster is led
// by; nil: nothing.
func (n *natsNode) meta() *natsserver.MetaClusterInfo {
	if n.server == nil {
		return nil
	}
	info, err := n.server.Jsz(nil)
	if err != nil {
		return nil
	}
	return info.Meta
}

// views says what each server knows of the cluster, for an error's text.
func (n *NATS) views() string {
	views := make([]string, len(n.nodes))
	for i, node := range n.nodes {
		views[i] = node.options.ServerName + " is stopped"
		if node.server != nil {
			text, err := json.Marshal(node.meta())
			views[i] = fmt.Sprintf("%s says %s", node.options.ServerName, text)
			if err != nil {
				views[i] = err.Error()
			}
		}
	}
	return strings.Join(views, ", ")
}
