package mysql

import (
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestFullDisk(t *testing.T) {
	disk := embeddedtest.SmallDisk(t, 400)
	server := administered(t, &testServer{mariadb: embeddedtest.MariaDBOn(t, disk.Dir(), nil)})
	servicetest.RunFullDisk(t, server.small(), servicetest.Disk{
		Fill: func(t *testing.T) { disk.Fill(t) },
		Clear: func(t *testing.T) {
			disk.Clear(t)
			if err := server.mariadb.Restart(testContext(t)); err != nil {
				t.Fatal(err)
			}
		},
		Tells: []string{"update"}, // while others write, the server may wait for space instead of answering
	})
}
