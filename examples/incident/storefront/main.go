// Storefront takes orders over HTTP and asks the catalog over gRPC. It has three faults, as services
// do: an order costs far more CPU than it should, orders wait for each other, and searches keep memory.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"google.golang.org/grpc"
)

type server struct {
	stock    stock
	searches searches
}

// order answers /order?item=NAME with the price.
func (s *server) order(answer http.ResponseWriter, request *http.Request) {
	item := request.FormValue("item")
	if err := s.stock.reserve(request.Context(), item); err != nil {
		http.Error(answer, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(answer, price(item))
}

// search answers /search?q=WORDS.
func (s *server) search(answer http.ResponseWriter, request *http.Request) {
	fmt.Fprintln(answer, s.searches.find(request.FormValue("q")))
}

func main() {
	connection, err := grpc.Dial(os.Args[2], grpc.WithInsecure(),
		grpc.WithDefaultCallOptions(grpc.CallContentSubtype("json")))
	if err != nil {
		log.Fatal(err)
	}
	s := &server{stock: stock{catalog: connection}}
	http.HandleFunc("/order", s.order)
	http.HandleFunc("/search", s.search)
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
