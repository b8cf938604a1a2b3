// Catalog is the service behind the storefront: it knows of each item whether it is in stock.
package main

import (
	"context"
	"log"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
)

// Item is what the storefront asks for, and Stock what it is told.
type Item struct{ Name string }
type Stock struct{ Count int }

type catalog interface {
	Reserve(context.Context, *Item) (*Stock, error)
}

type shelves struct{}

// Reserve takes its time, as a service with a database does.
func (shelves) Reserve(_ context.Context, item *Item) (*Stock, error) {
	time.Sleep(2 * time.Millisecond)
	return &Stock{Count: len(item.Name)}, nil
}

// What protoc would generate, for messages that are JSON.
func reserve(service interface{}, ctx context.Context, decode func(interface{}) error,
	_ grpc.UnaryServerInterceptor) (interface{}, error) {
	item := new(Item)
	if err := decode(item); err != nil {
		return nil, err
	}
	return service.(catalog).Reserve(ctx, item)
}

var description = grpc.ServiceDesc{
	ServiceName: "Catalog",
	HandlerType: (*catalog)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Reserve", Handler: reserve}},
}

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&description, shelves{})
	log.Fatal(server.Serve(listener))
}
