package s3

import (
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// InstanceParams are the user's parameters of an instance: a bucket has none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding.
type BindingParams = access.Params

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
