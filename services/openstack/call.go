package openstack

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
)

// Call sends a request for which gophercloud has no function. It decodes the answer unless answer
// is nil. Every status of success is one.
func Call(ctx context.Context, client *gophercloud.ServiceClient, method, url string, body, answer any) error {
	options := &gophercloud.RequestOpts{
		JSONBody: body, JSONResponse: answer,
		OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent},
	}
	_, err := client.Request(ctx, method, url, options) //nolint:bodyclose // gophercloud closes it
	return err
}
