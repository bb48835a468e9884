"""Data adapters: a person's fields from the back ends that have them.

contract        what an adapter is                    configuration   what stands in the file, and what is made of it
source          an adapter with cache and deadline    fetches         its requests: bounds, breaker, retry
cache, breaker, pace, bounds                          of a source, pure
rest            records over HTTP                     address_guard   where one may connect to
"""
