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

// waitReady waits until every running server accepts clients, and JetStream can make streams.
func (n *NATS) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, natsStartLimit)
	defer cancel()
	var missing string
	err := poll(ctx, func() bool {
		missing = n.missing()
		return missing == ""
	})
	if err != nil {
		return fmt.Errorf("the message servers did not become ready in time: %s; %s; the end of %s: %s: %w",
			missing, n.views(), n.log.Name(), lastLines(n.log.Name()), err)
	}
	return nil
}

// missing says what is not ready; empty: everything is.
func (n *NATS) missing() string {
	var running []*natsNode
	for _, node := range n.nodes {
		switch {
		case node.server == nil: // stopped on purpose
			continue
		case !node.server.ReadyForConnections(time.Millisecond):
			return node.options.ServerName + " accepts no clients"
		case !node.server.JetStreamEnabled():
			return node.options.ServerName + " has no JetStream"
		}
		running = append(running, node)
	}
	if len(n.nodes) == 1 || len(running) <= len(n.nodes)/2 { // without a majority, they elect no leader
		return ""
	}
	return incomplete(running)
}

// incomplete says why servers are not yet a cluster that survives the loss of one of them;
// empty: they are. A server's own report is not enough: it calls itself current before it
// knows a leader, and the leader places streams on a server only after it heard from it.
// Replicated data survives the loss of another server once this one has caught up.
func incomplete(running []*natsNode) string {
	var leader *natsNode
	for _, node := range running {
		if node.server.JetStreamIsLeader() {
			leader = node
		}
	}
	if leader == nil {
		return "the servers have no leader"
	}
	name := leader.options.ServerName
	seen, places := leader.meta(), leader.server.JetStreamClusterPeers()
	for _, node := range running {
		own := node.meta()
		switch {
		case own == nil || own.Leader != name || !node.server.JetStreamIsCurrent():
			return node.options.ServerName + " does not follow " + name
		case node != leader && !isCurrent(seen, node):
			return name + " has not heard enough from " + node.options.ServerName
		case !slices.Contains(places, node.options.ServerName):
			return name + " would place no stream on " + node.options.ServerName
		}
		if health := node.server.Healthz(nil); health.Error != "" {
			return node.options.ServerName + " says: " + health.Error
		}
	}
	return ""
}

// isCurrent says whether, in the leader's view, it has heard from node since node's start, and
// node has everything.
func isCurrent(seen *natsserver.MetaClusterInfo, node *natsNode) bool {
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

// meta is the server's view of the group that leads JetStream's cluster; nil: none.
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

// views describes each server's view of the cluster, for an error's text.
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
