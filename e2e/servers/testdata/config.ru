# A Rack application: one application mapped to each area, which is how Rails engines and Sinatra applications are put together.
map('/whoami') { run ->(env) { [200, { 'Content-Type' => 'text/plain' }, ["id=[#{env['HTTP_X_USER_ID']}]\n"]] } }
File.foreach(ENV.fetch('AREAS')) do |line|
  prefix, says = line.split
  map(prefix) { run ->(_env) { [200, { 'Content-Type' => 'text/plain' }, ["#{says}\n"]] } }
end
