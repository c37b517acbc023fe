// Package all is the one list of backends.
package all

import (
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysql"
	"github.com/chandler-broker/chandler/services/database/postgres"
	"github.com/chandler-broker/chandler/services/dns/powerdns"
	"github.com/chandler-broker/chandler/services/filesystem/s3"
	"github.com/chandler-broker/chandler/services/filesystem/smb"
	"github.com/chandler-broker/chandler/services/function/openwhisk"
	"github.com/chandler-broker/chandler/services/queue/nats"
	"github.com/chandler-broker/chandler/services/queue/rabbitmq"
)

// Definitions returns every backend that a catalog can name, in the order of the
// shipped one.
func Definitions() []services.Definition {
	return []services.Definition{
		postgres.Definition(),
		mysql.Definition(),
		nats.Definition(),
		rabbitmq.Definition(),
		powerdns.Definition(),
		s3.Definition(),
		smb.Definition(),
		openwhisk.Definition(),
	}
}
