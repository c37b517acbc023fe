package openstack

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/services"
)

// The project of a restored instance leads to that of the backup, also after a backup of it.
func TestHome(t *testing.T) {
	cloud, ctx := newCloud(t), testContext(t)
	c := open(t, cloud.config())
	origin := project(t, c)
	if !origin.AtHome() {
		t.Errorf("a new project: %+v", origin)
	}
	instance := services.InstanceName(uuid.NewString())
	t.Cleanup(func() {
		if p, err := c.FindProject(testContext(t), instance); err == nil {
			_ = c.DeleteProject(testContext(t), p)
		}
	})
	var restored Project
	for range 2 {
		made, err := c.EnsureProjectAt(ctx, instance, origin.Home)
		if err != nil {
			t.Fatal(err)
		}
		restored = made
	}
	if err := c.SetMark(ctx, &restored, Kept); err != nil {
		t.Fatal(err)
	}
	found, err := c.FindProject(ctx, instance)
	if err != nil || found.Home != origin.Instance || found.Mark != Kept || found.AtHome() {
		t.Errorf("found %+v, %v", found, err)
	}
	all, err := c.Projects(ctx)
	if err != nil || !slices.Contains(all, found) {
		t.Errorf("listed %+v, %v", all, err)
	}
	if home, err := c.FindHome(ctx, found); err != nil || home.ID != origin.ID {
		t.Errorf("home: %+v, %v", home, err)
	}
	// The same instance, provisioned again without a backup.
	if again, err := c.EnsureProject(ctx, instance); err != nil || !again.AtHome() || again.ID != found.ID {
		t.Errorf("again: %+v, %v", again, err)
	}
	if found, err = c.FindProject(ctx, instance); err != nil || !found.AtHome() || found.Mark != newProject {
		t.Errorf("found again: %+v, %v", found, err)
	}
	if _, err := c.EnsureProjectAt(ctx, instance, origin.Instance); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteProject(ctx, origin); err != nil {
		t.Fatal(err)
	}
	if found, err = c.FindProject(ctx, instance); err != nil {
		t.Fatal(err)
	}
	if _, err := c.FindHome(ctx, found); !errors.Is(err, ErrNoProject) {
		t.Errorf("without its home: %v", err)
	}
}

func TestForeignTags(t *testing.T) {
	const own, other = "aaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbb"
	for _, test := range []struct {
		tags []string
		want string
	}{
		{nil, own},
		{[]string{"production", "chandler-home-", "chandler-home-short", "Chandler-home-" + other}, own},
		{[]string{"production", "chandler-home-" + other}, other},
	} {
		if got := home(own, test.tags); got != test.want {
			t.Errorf("%v: %s, want %s", test.tags, got, test.want)
		}
	}
}
