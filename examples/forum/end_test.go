package forum_test

import (
	"context"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// search looks for what the story left: on the servers themselves, in the broker's
// state, in the credential store, and for secrets in everything that was written.
func (s *story) search(ctx context.Context) {
	for _, server := range s.d.Servers {
		Eventually(server.Holds).WithContext(ctx).WithTimeout(time.Minute).Should(BeEmpty(), server.Backend)
	}
	for _, verb := range [][]string{{"instances", "list"}, {"bindings", "list"}, {"operations", "list", "--unfinished"}, {"orphans"}} {
		result, err := s.d.Verb(ctx, append(verb, "--output", "json")...)
		Expect(err).NotTo(HaveOccurred())
		Expect(result.Stdout).To(MatchJSON(`[]`), "chandler %v\n%s", verb, result.Stderr)
	}
	s.credentialStore(ctx)
	places, err := s.d.Places(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, text := range places[rig.Outputs] {
		Expect(complaint.FindString(text)).To(BeEmpty())
	}
	Expect(rig.Search(s.d.Secrets.Finder(), places)).To(BeEmpty())
	s.say("    %d servers are empty; %d secrets are nowhere", len(s.d.Servers), s.d.Secrets.Len())
}

// complaint is what the race detector or a panic leaves in a log.
var complaint = regexp.MustCompile(`(?s)(WARNING: DATA RACE|panic).{0,900}`)

// credentialStore expects that the sealed store, which these brokers keep
// credentials in, is empty.
func (s *story) credentialStore(ctx context.Context) {
	conn, err := pgx.Connect(ctx, s.d.StateURL)
	Expect(err).NotTo(HaveOccurred())
	defer conn.Close(context.WithoutCancel(ctx))
	rows, _ := conn.Query(ctx, "select path from sealed_secrets")
	Expect(pgx.CollectRows(rows, pgx.RowTo[string])).To(BeEmpty())
}
