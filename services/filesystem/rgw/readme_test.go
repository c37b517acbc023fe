package rgw

import (
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
)

func TestReadme(t *testing.T) {
	server := newServer(t)
	objecttest.Readme[Config](t, Definition(), server.config(server.address()))
}
