package rabbitmq

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// reach tries to get from one instance into another, and into what is the
// administrator's and the server's.
func reach(t *testing.T, mine, theirs map[string]any) {
	ctx := testContext(t)
	theirHost, theirUser := theirs["vhost"].(string), theirs["username"].(string)
	my := mine["password"].(string)
	for name, change := range map[string]func(u *url.URL){
		"their virtual host":            func(u *url.URL) { u.Path = "/" + theirHost },
		"the server's virtual host":     func(u *url.URL) { u.Path, u.RawPath = "//", "/%2F" },
		"an absent virtual host":        func(u *url.URL) { u.Path = "/none" },
		"their user and my password":    func(u *url.URL) { u.User = url.UserPassword(theirUser, my); u.Path = "/" + theirHost },
		"their user in my virtual host": func(u *url.URL) { u.User = url.UserPassword(theirUser, my) },
		"the administrator":             func(u *url.URL) { u.User = url.UserPassword("administrator", my) },
		"guest":                         func(u *url.URL) { u.User = url.UserPassword("guest", "guest") },
		"no password":                   func(u *url.URL) { u.User = url.UserPassword(theirUser, "") },
	} {
		u, err := url.Parse(mine["uri"].(string))
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		changed := maps.Clone(mine)
		changed["uri"] = u.String()
		if s, err := dial(ctx, changed); err == nil {
			t.Errorf("%s: connected", name)
			_ = s.Close()
		}
	}
	withoutManagement(t, mine)
	impersonate(t, mine, theirUser)
}

// withoutManagement shows that the management API lets no application in, with
// which it could reach every other one.
func withoutManagement(t *testing.T, mine map[string]any) {
	t.Helper()
	base := *newServer(t).admin
	base.User = url.UserPassword(mine["username"].(string), mine["password"].(string))
	for _, path := range []string{"/api/whoami", "/api/overview", "/api/vhosts", "/api/users", "/api/queues", "/api/definitions", "/api/connections"} {
		var answer any
		if err := askAs(testContext(t), base.String(), path, &answer); err == nil {
			t.Errorf("%s: %v", path, answer)
		}
	}
	// Nor can an application change its own password: AMQP has no method for it.
	request, err := http.NewRequestWithContext(testContext(t), http.MethodPut, base.String()+"/api/users/"+mine["username"].(string),
		strings.NewReader(`{"password": "mine", "tags": "administrator"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("an application changes its own password: %s", response.Status)
	}
}

// impersonate publishes in another user's name.
func impersonate(t *testing.T, mine map[string]any, theirUser string) {
	t.Helper()
	s := dialled(t, mine)
	err := s.channel(testContext(t), func(ch *amqp.Channel) error {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		if err := ch.PublishWithContext(testContext(t), "amq.fanout", "", false, false, amqp.Publishing{UserId: theirUser}); err != nil {
			return err
		}
		if _, err := ch.QueueDeclarePassive("none", false, false, false, false, nil); err == nil {
			return nil
		}
		return <-closed
	})
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Code != amqp.PreconditionFailed {
		t.Errorf("a message in another user's name: %v", err)
	}
}
