package main

import (
	"encoding/json"

	"google.golang.org/grpc/encoding"
)

// Messages of gRPC as JSON, so that nobody needs protoc.
type codec struct{}

func (codec) Marshal(message interface{}) ([]byte, error) { return json.Marshal(message) }
func (codec) Unmarshal(bytes []byte, message interface{}) error {
	return json.Unmarshal(bytes, message)
}
func (codec) Name() string { return "json" }

func init() { encoding.RegisterCodec(codec{}) }
