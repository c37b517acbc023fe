package designate

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

const (
	// retry is the wait for a state of Designate that takes about a second.
	retry = 500 * time.Millisecond
	// retryError is the wait for Designate to try again what failed, which it does every two
	// minutes by default.
	retryError = 5 * time.Second
)

// explain gives an error of Designate its meaning: the states that pass become NotYet, and a
// quota says which.
func explain(doing string, err error) error {
	f, ok := openstack.AsFailure(err)
	if !ok || f.Service != "Designate" {
		return openstack.Explain(doing, err)
	}
	switch {
	case f.Status == http.StatusRequestEntityTooLarge:
		return services.Rejected("Designate's quota is exceeded (%s): ask your operator for more, or delete what you do not need", f.Message)
	case f.Status == http.StatusTooManyRequests:
		return services.NotYet(retryError, "Designate has too many requests and the broker retries")
	case f.Status == http.StatusBadRequest && strings.Contains(f.Message, "deleting zone"):
		return services.NotYet(retry, "Designate is deleting a zone of this name")
	}
	return openstack.Explain(doing, err)
}

// refusedZone gives an error of making a zone its meaning.
func refusedZone(name string, err error) error {
	f, ok := openstack.AsFailure(err)
	if !ok {
		return explain("create the zone", err)
	}
	switch f.Type {
	case "duplicate_zone": // not in the instance's project, which was searched
		return services.Rejected("parameters.zone: %s already exists; choose another name", name)
	case "illegal_child", "illegal_parent":
		return services.Rejected("parameters.zone: %s lies above or below an existing zone; choose another name", name)
	case "invalid_zone_name", "invalid_tld", "blacklisted":
		return services.Rejected("parameters.zone: Designate does not allow %s: %s; choose another name", name, f.Message)
	}
	return explain("create the zone", err)
}

// refusedRecords shows the user Designate's refusal of records that passed the broker's checks:
// Designate has rules of its own, and also knows the records that applications made.
func refusedRecords(kind, name string, err error) error {
	f, ok := openstack.AsFailure(err)
	what := fmt.Sprintf("the %s records of %s", kind, withoutDot(name))
	switch {
	case !ok || f.Service != "Designate":
	case f.Status == http.StatusRequestEntityTooLarge:
		return services.Rejected("parameters.records: %s exceed Designate's quota (%s): remove records, or ask your operator for more", what, f.Message)
	case f.Status == http.StatusConflict: // made at this moment by an application, or being deleted
		return services.NotYet(retry, "Designate is changing "+what)
	case f.Status == http.StatusBadRequest && f.Type != "bad_request":
		return services.Rejected("parameters.records: Designate refuses %s: %s", what, f.Message)
	}
	return explain("write "+what, err)
}
