package postgres

import (
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestFullDisk(t *testing.T) {
	disk := embeddedtest.SmallDisk(t, 160)
	postgres := embeddedtest.PostgresOn(t, disk.Dir())
	server := newServerAt(t, postgres.URL("postgres"))
	servicetest.RunFullDisk(t, server.small("disk"), servicetest.Disk{
		Fill: func(t *testing.T) { disk.Fill(t) },
		Clear: func(t *testing.T) {
			disk.Clear(t)
			if err := postgres.Restart(testContext(t)); err != nil {
				t.Fatal(err)
			}
		},
		Updated: func(t *testing.T, instance string) {
			if limit := server.ask(t, "SELECT datconnlimit FROM pg_database WHERE datname = 'disk_"+instance+"'"); limit != "20" {
				t.Errorf("%s connections", limit)
			}
		},
		Tells: []string{"provision"},
	})
}
