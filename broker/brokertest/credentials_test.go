package brokertest_test

import (
	"testing"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
)

func TestCredentials(t *testing.T) {
	shared := brokertest.NewCredentials()
	credtest.Run(t, func(*testing.T) credhub.Store { return shared })
}
